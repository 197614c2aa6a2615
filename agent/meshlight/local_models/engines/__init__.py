"""The engines that run: one process for each model, and the one owner that starts and stops them."""
