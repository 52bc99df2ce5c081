"""llama.cpp and what embeds it: its CUDA backend, its memory, its server."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Finding, FindingClass, Remedy, Severity
from nvdiag.model.unknown import NotApplicable

_BACKEND = ("llama-cuda-backend", "llama-cuda-devices", "llama-cuda-backend-not-loaded", "llama-some-layers-offloaded")
"""Messages of a build that has its CUDA backend, whatever became of it."""

_WAITING = ("llama-server-loading", "llama-server-no-slot", "llama-server-503")

_DOUBTFUL = ("whisper-features-without-cuda", "llama-no-usable-gpu", "llama-features-without-blas")


@check("llama-built-without-cuda")
def llama_has_its_cuda_backend(messages: Messages) -> Iterator[Finding]:
    """llama.cpp, or what embeds it, has a CUDA backend."""
    backend = messages.named(*_BACKEND)
    proved = [
        one for one in messages.proving("llama-built-without-cuda") if not (backend and one.message.name in _DOUBTFUL)
    ]
    likely = () if backend else messages.named(*_DOUBTFUL[1:])
    if not proved and not likely:
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        proved or likely,
        "llama-built-without-cuda",
        confidence=None if proved else Confidence.LIKELY,
        title="" if proved else f"this build has no CUDA backend: {likely[0].told}",
        kind=FindingClass.APPLICATION,
        remedies=(
            Remedy(
                summary="see which devices the program knows",
                commands=("llama-server --list-devices", "nvidia-smi -L"),
                prediction="a build with CUDA lists CUDA0",
            ),
            Remedy(
                summary="build it with CUDA, or take a build or image that has it",
                commands=("cmake -B build -DGGML_CUDA=ON", "cmake --build build --config Release -j"),
                prediction="needs nvcc; the CUDA image of llama.cpp has -cuda in its tag",
            ),
            Remedy(
                summary="llama-cpp-python: build it anew with CUDA",
                commands=(
                    'CMAKE_ARGS="-DGGML_CUDA=on" python -m pip install --force-reinstall --no-cache-dir'
                    " llama-cpp-python",
                ),
                prediction="without --no-cache-dir pip takes the old wheel again",
            ),
        ),
        explains=frozenset({"llama-layers-on-cpu"}),
        beside=_said.evidence(messages.named("llama-features")),
    )


@check("llama-model-does-not-fit")
def the_model_fits_into_gpu_memory(messages: Messages) -> Iterator[Finding]:
    """The model, its KV cache and its buffers fit into the GPU memory that is free."""
    loaded = messages.named("llama-fit-succeeded")
    said = tuple(
        one
        for one in messages.proving("llama-model-does-not-fit")
        if not any(after.source == one.source and after.line > one.line for after in loaded)
    )  # llama.cpp and Ollama try again with less, and tell of every attempt
    unfit = () if loaded else messages.named("llama-fit-failed")
    if not said and not unfit:
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said or unfit,
        "llama-model-does-not-fit",
        confidence=None if said else Confidence.LIKELY,
        kind=FindingClass.APPLICATION,
        detail="Weights, KV cache and compute buffers together need more than is free. The KV cache grows with the"
        " context, and is often the part that can be spared.",
        remedies=(
            Remedy(
                summary="see what is free, and who holds the rest",
                commands=("nvidia-smi --query-gpu=index,memory.total,memory.free --format=csv",),
            ),
            Remedy(
                summary="take less: a smaller context, a quantised KV cache, fewer layers on the GPU",
                commands=("llama-server -m MODEL.gguf -c 8192 -ctk q8_0 -ngl 20",),
                prediction="each layer less on the GPU frees its weights; of a mixture of experts --n-cpu-moe N keeps"
                " the experts of N layers in host memory, which costs less speed",
            ),
        ),
        explains=frozenset({"llama-server-unhealthy", "llama-layers-on-cpu"}),
        beside=_said.evidence(messages.named("llama-device-memory", "llama-fit-failed")),
    )


@check("llama-layers-on-cpu")
def the_layers_are_on_the_gpu(messages: Messages) -> Iterator[Finding]:
    """llama.cpp puts layers of the model on the GPU that it has found."""
    found = messages.named("llama-cuda-devices", "llama-device-memory", "ollama-device-memory")
    works = found or messages.named("smi-works")
    said = (*messages.proving("llama-layers-on-cpu"), *(messages.named("ollama-all-on-cpu") if works else ()))
    few = () if said else _few_layers(messages)
    if not said and not few:
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said or few,
        "llama-layers-on-cpu",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN if found and said else Confidence.LIKELY,
        title="only {some} of the model's {layers} layers are on the GPU".format(**few[0].groups) if few else "",
        kind=FindingClass.APPLICATION,
        detail="It works, at the speed of the CPU."
        if said
        else "The layers on the CPU set the speed. If the GPU's memory is not full, more of them fit.",
        remedies=(_OLLAMA,) if said and all(one.message.name == "ollama-all-on-cpu" for one in said) else (_LAYERS,),
        beside=_said.evidence(works),
    )


_LAYERS = Remedy(
    summary="ask for the layers to be on the GPU",
    commands=("llama-server -m MODEL.gguf -ngl 99",),
    prediction="as many as there are; n_gpu_layers=-1 in llama-cpp-python, num_gpu in Ollama. If memory runs out then,"
    " take fewer",
)
_OLLAMA = Remedy(
    summary="read in Ollama's log which GPU it found as it started, and why it took none",
    commands=(
        "journalctl -u ollama --no-pager | grep -iE 'inference compute|cuda|gpu' | tail -n 20",
        "docker logs OLLAMA 2>&1 | grep -iE 'inference compute|cuda|gpu' | tail -n 20",
    ),
    prediction="library=cpu there means that it saw none: a container needs --gpus all, and a driver that is too old is"
    " named. With library=cuda the parameter num_gpu, or the model's size, keeps the layers away",
)


def _few_layers(messages: Messages) -> tuple[Said, ...]:
    """A small part of the layers on the GPU, by choice. Ollama takes as many as fit, so its few are no mistake."""
    if messages.proving("llama-model-does-not-fit") or any("ollama" in one.message.name for one in messages.said):
        return ()
    told = [one for one in messages.named("llama-some-layers-offloaded") if one.groups.get("some")]
    return tuple(one for one in told if 2 * int(one.groups["some"]) <= int(one.groups["layers"]))


@check("llama-server-unhealthy")
def the_server_answers(messages: Messages) -> Iterator[Finding]:
    """The server of llama.cpp or Ollama answers, with the endpoints that are asked of it."""
    said = _said.about(messages, "llama-server-unhealthy")
    waiting = all(one.message.name in _WAITING for one in said)
    yield _said.finding(
        said,
        "llama-server-unhealthy",
        severity=Severity.WARNING if waiting else Severity.ERROR,
        kind=FindingClass.APPLICATION,
        remedies=(
            *(remedy for name, remedy in _OF_THE_START if any(one.message.name == name for one in said)),
            Remedy(
                summary="ask the server for its health, and read its log",
                commands=("curl -s http://127.0.0.1:8080/health", "journalctl -u ollama -n 100 --no-pager"),
                prediction="503 while it loads the model is normal and ends by itself; 200 with status ok is health",
            ),
            Remedy(
                summary="see what has the port",
                commands=("ss -ltnp | grep -E ':(8080|11434)'",),
                prediction="end the other server, or choose another --port",
            ),
        ),
    )


_OF_THE_START = (
    (
        "llama-swap-failed",
        Remedy(
            summary="give the model more time to load: healthCheckTimeout: 300 in llama-swap's config.yaml",
            commands=("curl -s http://127.0.0.1:8080/upstream/MODEL/health",),
            prediction="if it still does not come up, run the model's cmd by hand and read why it ends",
        ),
    ),
    (
        "llama-server-wrong-argument",
        Remedy(
            summary="correct the argument: its name, or the value that is missing before it",
            commands=("llama-server --help",),
            prediction="an empty variable in a compose file leaves an option without its value",
        ),
    ),
)
"""What helps a server that does not even start, by the message that says so."""


@check("llama-template-broken")
def the_chat_template_renders(messages: Messages) -> Iterator[Finding]:
    """The model's chat template is there and renders."""
    said = _said.about(messages, "llama-template-broken")
    yield _said.finding(
        said,
        "llama-template-broken",
        kind=FindingClass.APPLICATION,
        detail="The GPU is not concerned: the template in the model file, or what the request puts into it, is.",
        remedies=(
            Remedy(
                summary="use the full template engine and a template that is known to be good",
                commands=("llama-server -m MODEL.gguf --jinja --chat-template-file TEMPLATE.jinja",),
                prediction="makers often mend a template after the model file was made; a newer llama.cpp reads more of"
                " them",
            ),
            Remedy(
                summary="see which template the server uses",
                commands=("curl -s http://127.0.0.1:8080/props",),
                prediction="a template that raises about roles wants user and assistant in turn, or no system message",
            ),
        ),
    )
