# Short names for people's habits; what they do is in scripts/check.py and in CONTRIBUTING.md.

PYTHON ?= python3
VENV := .venv/bin

.PHONY: demo check test format lint bench bench-history profile screenshots

demo: $(VENV)/gateway  ## the whole way of a message, on this machine alone
	$(VENV)/gateway demo

check: $(VENV)/gateway  ## everything that must hold before a change goes in
	$(VENV)/python scripts/check.py

test: $(VENV)/gateway  ## the tests alone
	$(VENV)/python -m pytest -q -n 2

format: $(VENV)/gateway  ## write every file as the formatter wants it, mend what can be mended
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .

lint: $(VENV)/gateway  ## format, lint, types and import contracts, without the tests
	$(VENV)/python scripts/check.py format lint types imports

bench: $(VENV)/gateway  ## what every path carries, beside naive programs and PostgreSQL alone
	$(VENV)/python -m benchmarks --json bench.json

profile: $(VENV)/gateway  ## where the time goes, in web, worker and PostgreSQL
	$(VENV)/python -m benchmarks.profile

screenshots: $(VENV)/gateway  ## pictures of the inbox in docs/screenshots, made by the tests that look at it
	$(VENV)/pip install -q -c constraints.txt -e '.[dev,browser]'
	mkdir -p docs/screenshots
	GATEWAY_SCREENSHOTS=docs/screenshots $(VENV)/python -m pytest -q -n 2 tests/browser/test_browser_screens.py

bench-history: $(VENV)/gateway  ## a history of two million messages: how fast it is read, and by which plans
	$(VENV)/python -m benchmarks.history

$(VENV)/gateway: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(VENV)/pip install -c constraints.txt -e '.[dev]'
	@touch $@
