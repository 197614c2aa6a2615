"""Tests of several machines on one network."""

import pytest

pytest.register_assert_rewrite("netns.watching")  # so that a broken expectation shows its values
