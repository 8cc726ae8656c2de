.PHONY: run test lint bench chaos lab-up lab-down

run: ## install what is missing, then serve http://127.0.0.1:8000 in the foreground
	@scripts/run.sh

test: ## install what the tests need, then run all of them
	@scripts/test.sh

lint: ## ruff, import-linter, mypy, bandit, pip-audit, tsc
	@scripts/lint.sh

bench: ## measure, one line per figure; writes var/bench.json
	@scripts/bench.sh

lab-up: ## two real libvirt hosts in network namespaces
	@scripts/setup.sh --lab
	@var/venv/bin/python manage.py lab up

lab-down: ## end the lab's hosts and their guests
	@var/venv/bin/python manage.py lab down

chaos: ## a quarter of an hour of faults on three real hosts; SEED=7 repeats one
	@scripts/setup.sh --lab --test
	@var/venv/bin/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))
