import pytest

from desktop.samples import backend, mesh
from meshlight.cli.doctor_checks import check_known_engines, check_usual_ports


def test_each_backend_that_is_on_is_judged_as_the_service_sees_it() -> None:
    well, ill = check_known_engines(
        mesh(backend("a"), backend("b", state="unhealthy"), backend("c", enabled=False))
    )
    assert (well.level, well.message) == ("ok", "a answers at http://127.0.0.1:11434 with 1 model.")
    assert (ill.level, ill.fix) == ("look", "Start it with `vllm serve MODEL`, or check its port.")


def test_a_mesh_without_backends_says_where_engines_are_looked_for() -> None:
    [found] = check_known_engines(mesh())
    assert found.level == "look"
    assert "(1234, 1337, 4891, 5000, 5001, 8000, 8080, 9931, 11434, 13305, 30000)" in found.message


@pytest.mark.usefixtures("type_words")
def test_without_the_service_the_usual_ports_are_looked_at() -> None:
    assert check_usual_ports()
