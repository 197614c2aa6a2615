from meshlight.local_models.engines.child_environment import child_environment

OURS = {
    "PATH": "/bin",
    "HOME": "/home/a",
    "LD_LIBRARY_PATH": "/cuda",
    "CUDA_VISIBLE_DEVICES": "0",
    "Path": "C:\\x",
}
NOT_THEIRS = (
    "MESHLIGHT_KEY",
    "MESHLIGHT_SECRET_X",
    "MESHLIGHT_HOME",
    "OPENAI_API_KEY",
    "HF_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "VLLM_API_KEY",
    "CUDA_AUTH_TOKEN",
    "LLAMA_API_KEY",
    "LLAMA_ARG_HOST",
    "LLAMA_ARG_TOOLS",
    "HTTPS_PROXY",
    "PYTHONPATH",
    "SSH_AUTH_SOCK",
)


def test_an_engine_gets_what_it_needs_and_no_secret() -> None:
    environ = child_environment(OURS | dict.fromkeys(NOT_THEIRS, "x"), {"LLAMA_API_KEY": "its own"})
    assert {name: value for name, value in environ.items() if name in OURS} == OURS
    assert set(environ) & set(NOT_THEIRS) == {"LLAMA_API_KEY"}
    assert environ["LLAMA_API_KEY"] == "its own"
    assert environ["HF_HUB_OFFLINE"] == "1"
