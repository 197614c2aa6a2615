"""How each model counts tokens."""

from meshlight.mesh.prompt_sizes import MODELS_MAX, PromptSizes


def test_each_model_counts_in_its_own_way() -> None:
    sizes = PromptSizes()
    for _ in range(3):
        sizes.learn("wordy", 1_000, 1_500)
    assert (sizes.tokens("wordy", 2_000), sizes.tokens("other", 2_000)) == (3_000, 2_000)


def test_the_oldest_model_is_forgotten_when_there_are_many() -> None:
    sizes = PromptSizes()
    for number in range(MODELS_MAX + 1):
        sizes.learn(f"m{number}", 1_000, 2_000)
    assert len(sizes) == MODELS_MAX
    assert (sizes.tokens("m0", 100), sizes.tokens("m1", 100)) == (100, 200)
