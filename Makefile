.PHONY: demo test setup check

demo: setup ## train on the built-in dataset
	scripts/demo

test: setup check ## lint, types and the whole test suite
	scripts/test

setup:
	scripts/setup

check: setup
	scripts/check
