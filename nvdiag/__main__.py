"""`python -m nvdiag` is the nvdiag command."""

from nvdiag.cli import main

if __name__ == "__main__":
    main()
