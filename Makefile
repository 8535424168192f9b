# Everything a person needs: `make test` runs every test and prints the totals.

.PHONY: test
test:
	@bash tests/run.sh
