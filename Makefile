.PHONY: demo test quick setup check

demo: setup ## train on the built-in dataset
	scripts/demo

test: setup check ## lint, types and the whole test suite
	scripts/test

quick: setup check ## lint, types and the tests that take no more than a second or two each
	scripts/test -m "not slow"
	@echo 'Left out: the tests marked slow (grep -rn mark.slow tests): trainings, kills, several processes. make test runs all.'

setup:
	scripts/setup

check: setup
	scripts/check
