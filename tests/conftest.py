"""What holds for every test."""

import hypothesis

# A machine that is busy with other work is no failure: no test here is about how long one example takes.
hypothesis.settings.register_profile("meshlight", deadline=None)
hypothesis.settings.load_profile("meshlight")
