"""The exporter on this machine, on real parts: what `make run`, `make watch` and the end-to-end tests use."""
