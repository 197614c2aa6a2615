"""Where requests go on machines that differ in one thing alone."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from msgspec.structs import replace

from simulation.demand import MODELS, Conversation, Turn
from simulation.gateways import Meshlight, Request
from simulation.machines import MAKES, Machine, Timeline

MODEL = MODELS[1]
DESKTOP = MAKES[2]


class Mesh:
    def __init__(self, *slots: int, warm: Sequence[bool], contexts: Sequence[int] = (32_768, 32_768)) -> None:
        self.timeline = Timeline()
        self.machines = [
            Machine(
                self.timeline,
                f"m{at}",
                replace(DESKTOP, slots=count, context=contexts[at], keep_s=1e9),
                [MODEL],
            )
            for at, count in enumerate(slots)
        ]
        for machine, is_warm in zip(self.machines, warm, strict=True):
            assert not is_warm or machine.preload(MODEL.name)
        self.gateway = Meshlight(self.timeline, self.machines, "local-first")
        self.done: list[Request] = []
        self._number = 0

    def ask(self, prompt: int = 100, answer: int = 50, number: int | None = None) -> None:
        self._number += 1
        turn = Turn(prompt, answer, 0, 0.0, 1.0)
        conversation = Conversation(
            1_000 + self._number if number is None else number, "a", MODEL.name, 0, [turn]
        )
        self.gateway.submit(Request(conversation, turn, self.timeline.now, self.done.append))

    def run(self) -> Counter[str]:
        self.timeline.run()
        return Counter(request.machine for request in self.done)


def test_twenty_of_twenty_go_to_the_warm_machine() -> None:
    mesh = Mesh(4, 4, warm=(False, True))
    for _ in range(20):
        mesh.ask()
        mesh.run()
    assert mesh.run() == {"m1": 20}


def test_a_full_warm_machine_is_left_for_the_next_one() -> None:
    mesh = Mesh(2, 2, warm=(True, True))
    for _ in range(4):
        mesh.ask()
    assert mesh.run() == {"m0": 2, "m1": 2}


def test_what_exceeds_the_slots_waits_in_the_queue_and_not_at_the_engines() -> None:
    mesh = Mesh(2, 2, warm=(True, True))
    for _ in range(12):
        mesh.ask()
    assert mesh.gateway.queues.waiting(MODEL.name) == 8
    assert sum(mesh.run().values()) == 12
    assert [machine.most_taken for machine in mesh.machines] == [2, 2]


def test_fifty_on_two_machines_with_four_slots_take_as_long_as_the_machines_need() -> None:
    ideal = Mesh(4, warm=(True,))
    for _ in range(25):
        ideal.ask()
    ideal.run()
    mesh = Mesh(4, 4, warm=(True, True))
    for _ in range(50):
        mesh.ask()
    assert sum(mesh.run().values()) == 50
    assert [machine.most_taken for machine in mesh.machines] == [4, 4]
    assert mesh.timeline.now <= 1.05 * ideal.timeline.now


def test_conversations_stay_where_they_are() -> None:
    mesh = Mesh(4, 4, warm=(True, True))
    for number in range(12):
        for conversation in range(4):
            mesh.ask(300 + number * 100, number=conversation)
        mesh.run()
    places: dict[int, list[str]] = {}
    for request in mesh.done:
        places.setdefault(request.conversation.number, []).append(request.machine)
    moves = sum(before != after for found in places.values() for before, after in pairwise(found))
    assert moves <= 2
    assert sum(request.job.is_hit for request in mesh.done) >= 40


def test_a_short_wait_is_sooner_than_loading() -> None:
    mesh = Mesh(1, 1, warm=(True, False))
    for _ in range(4):
        mesh.ask()
        mesh.run()
    mesh.ask()
    mesh.ask()
    assert mesh.run() == {"m0": 6}


def test_a_long_prompt_goes_where_the_context_holds_it() -> None:
    mesh = Mesh(4, 4, warm=(True, False), contexts=(4_096, 131_072))
    mesh.ask(20_000)
    assert mesh.run() == {"m1": 1}
    assert mesh.done[0].refused == 0


def test_a_machine_that_slows_down_loses_its_requests() -> None:
    mesh = Mesh(4, 4, warm=(True, True))
    mesh.machines[1].slow_down(1.5)
    for _ in range(12):
        mesh.ask()
        mesh.run()
    mesh.machines[0].slow_down(10.0)
    mesh.done.clear()
    for _ in range(16):
        mesh.ask()
        mesh.run()
    assert {request.machine for request in mesh.done[10:]} == {"m1"}
