# Everything a person needs, from a fresh Debian 12 with Rust, make and Python on.

.DEFAULT_GOAL := help
program := target/release/mostream
draw := target/release/examples/draw_demo_clip

.DELETE_ON_ERROR:
.PHONY: help setup demo test test-consumers audit bench soak results

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

setup: ## install what is missing: Debian packages, the ONNX Runtime library
	@bash tools/setup.sh

demo: setup ## draw a clip, find the objects in it, name the annotated video
	cargo build --release --bins --examples
	@$(MAKE) --no-print-directory out/demo-boxes.mp4
	@echo "out/demo-boxes.mp4 shows the boxes, out/demo-boxes.jsonl holds them:" \
	  "$$(wc -l <out/demo-boxes.jsonl) frames, $$(grep -o '"bbox"' out/demo-boxes.jsonl | wc -l) boxes"

test: setup ## run every check and test and print the totals
	@bash tests/run.sh

test-consumers: setup ## have the tools that train read sets of every format (some 7 GB are installed for it)
	cargo build --release --bins
	@bash tests/consumers/run.sh

audit: ## check the licences, sources and advisories of all crates
	@bash tools/audit.sh

bench: setup ## run the benchmarks
	cargo bench --profile release

soak: setup ## run everything for an hour while it is disturbed, and keep the figures (docs/service.md)
	cargo build --release --bins --examples
	python3 tests/soak --keep

results: ## write docs/RESULTS.md from the reports in docs/results
	cargo run --release --quiet --example results -- docs/results docs/RESULTS.md

out/demo.mp4: examples/draw_demo_clip.rs tests/support/scene.rs
	$(draw) $@

out/demo-boxes.mp4 out/demo-boxes.jsonl &: out/demo.mp4 $(program)
	$(program) run out/demo.mp4 -o out/demo-boxes.mp4 --records out/demo-boxes.jsonl
