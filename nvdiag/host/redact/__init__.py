"""Taking out of a snapshot what names a person, a machine or a board, and every secret, consistently.

The same GPU stays the same GPU. Variables of the environment are recorded only where `nvdiag.host.environment` allows
them; what they hold is redacted as any other text.
"""

from nvdiag.host.redact.redactor import Redactor, as_text, redacted

__all__ = ["Redactor", "as_text", "redacted"]
