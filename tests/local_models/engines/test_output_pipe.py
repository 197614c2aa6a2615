"""An engine's log goes into a pipe that takes much before anybody reads."""

import os
import subprocess
import sys

import pytest

from meshlight.local_models.engines.output_pipe import OutputPipe, output_pipe, standard_output


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a pipe is as large as it is")
def test_thousands_of_lines_fit_before_the_first_is_read() -> None:
    pipe = OutputPipe()
    reading = pipe.take_reading()
    line = b"slot print_timing: id  3 | task 198 | prompt eval time =       0.14 ms\n"
    os.set_blocking(pipe.writing, False)
    for _ in range(3_000):
        assert os.write(pipe.writing, line) == len(line)
    pipe.close()
    pipe.close()
    received = 0
    while data := os.read(reading, 1 << 20):
        received += len(data)
    os.close(reading)
    assert received == 3_000 * len(line)


def test_where_the_loop_reads_its_own_pipes_alone_it_makes_them() -> None:
    assert output_pipe("win32") is None
    assert standard_output(None) == subprocess.PIPE


@pytest.mark.skipif(sys.platform == "win32", reason="the loop reads its own pipes there")
def test_elsewhere_the_program_gets_the_end_for_writing_and_nothing_stays_open() -> None:
    pipe = output_pipe()
    assert pipe is not None
    writing = standard_output(pipe)
    os.fstat(writing)
    pipe.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(writing)
