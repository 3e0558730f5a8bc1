# Needs Python 3.11 or 3.12, make and git. Whatever else it takes is installed
# into folders of this checkout (.venv-*), and again only if setup.cfg changes.

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test dev lint types light full bench build clean

WORKERS ?= 2
PIP = -m pip install --quiet --disable-pip-version-check
SOURCES := $(shell find zoo training export weights -type f ! -name '*.pyc') pyproject.toml README.md
SETUP = setup.cfg .ci/find-python

# Tests run in an empty folder, so that they cannot import the sources by accident.
IN_EMPTY = empty=$$(mktemp -d) && trap 'rm -rf "$$empty"' EXIT && cd "$$empty" &&
PYTEST = bin/pytest -q -c "$(CURDIR)/pyproject.toml" --rootdir "$(CURDIR)"

help:
	@echo "make demo    segment a simulated stack of axons; the last line names the picture"
	@echo "make test    check everything: lint, types, the light suite without TensorFlow, the full suite"
	@echo "make dev     an editable installation with everything, in .venv"
	@echo "make lint    style and the rules of what may import what"
	@echo "make bench   the size of the light environment"
	@echo "make build   sdist and wheel, in dist"
	@echo "make clean   remove the environments and what was built"
	@echo "PYTHON=...   the Python to use; WORKERS=2 tests run at once"

demo: .venv-light/.installed
	@rm -rf demo && mkdir demo
	@.venv-light/bin/calzoo simulate axons --seed 5 --style lightsheet -o demo/sample
	@.venv-light/bin/calzoo axons demo/sample/000_volume.tif -o demo/axons
	@test -f demo/axons/overlay.png && echo "$(CURDIR)/demo/axons/overlay.png"

test: lint types light full

dev: $(SETUP)
	@python=$$(.ci/find-python train) && test -x .venv/bin/python || $$python -m venv .venv
	@.venv/bin/python $(PIP) -e ".[train,zarr,dev]"
	@echo "activate it with: . .venv/bin/activate"

lint: .venv-check/.installed
	@.venv-check/bin/ruff check --quiet .
	@.venv-check/bin/ruff format --quiet --check .
	@$(IN_EMPTY) "$(CURDIR)/.venv-check/bin/lint-imports" --no-logo --config "$(CURDIR)/pyproject.toml"

types: .venv-check/.installed
	@$(IN_EMPTY) "$(CURDIR)/.venv-check/bin/mypy" --config-file "$(CURDIR)/pyproject.toml" -p calzoo
	@$(IN_EMPTY) "$(CURDIR)/.venv-check/bin/mypy" --config-file= --strict "$(CURDIR)/tests/typed_program.py"

light: .venv-check/.installed
	@echo "The light suite, in an environment without TensorFlow:"
	@$(IN_EMPTY) "$(CURDIR)/.venv-check"/$(PYTEST) -n $(WORKERS) --dist loadfile -m "not train" "$(CURDIR)/tests"

full: .venv-test/.installed
	@echo "The full suite, with the examples in the documentation of the installed package:"
	@$(IN_EMPTY) "$(CURDIR)/.venv-test"/$(PYTEST) -n $(WORKERS) --dist loadfile "$(CURDIR)/tests"

bench: .venv-light/.installed
	@.venv-light/bin/python benchmarks/size.py .venv-light

build: dist/.built

clean:
	rm -rf .venv .venv-light .venv-check .venv-test dist build demo calzoo.egg-info

# What a scientist installs, and nothing else: setuptools, which Python 3.11 puts
# into every environment, is not needed to run.
.venv-light/.installed: $(SOURCES) $(SETUP)
	@python=$$(.ci/find-python light) && { test -x .venv-light/bin/python || $$python -m venv .venv-light; }
	@rm -rf build
	@.venv-light/bin/python $(PIP) --no-compile --force-reinstall --no-deps .
	@.venv-light/bin/python $(PIP) --no-compile ".[cpu]"
	@.venv-light/bin/python -m pip uninstall -qq --yes setuptools
	@touch $@

# Linters, and the light suite with the newest NumPy.
.venv-check/.requirements: $(SETUP)
	@echo "Installing what the light suite needs ..."
	@python=$$(.ci/find-python light) && { test -x .venv-check/bin/python || $$python -m venv .venv-check; }
	@.venv-check/bin/python $(PIP) ".[cpu,openvino,zarr,nwb,dev]"
	@touch $@

# TensorFlow, Keras and the exporter, with the oldest ONNX Runtime that setup.cfg allows,
# and the last JAX that works with the NumPy that patchify needs.
OLDEST = "onnxruntime==1.31.*"
.venv-test/.requirements: $(SETUP)
	@python=$$(.ci/find-python train) && { test -x .venv-test/bin/python || $$python -m venv .venv-test; }
	@echo "Installing TensorFlow and what else the full suite needs ..."
	@.venv-test/bin/python $(PIP) ".[train,openvino,zarr,dev]" $(OLDEST) jax==0.6.2
	@.venv-test/bin/python $(PIP) --no-deps segmentation-models-3D==1.1.1 classification-models-3D==1.1.0
	@touch $@

# The wheel is built from the sdist, in a folder of its own.
dist/.built: $(SOURCES) .venv-check/.requirements
	@rm -rf dist && mkdir dist
	@.venv-check/bin/python -m build --outdir dist . >dist/log 2>&1 || { cat dist/log; exit 1; }
	@touch $@

.venv-%/.installed: dist/.built .venv-%/.requirements
	@.venv-$*/bin/python $(PIP) --no-deps --force-reinstall dist/calzoo-*.whl
	@touch $@
