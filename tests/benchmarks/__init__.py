"""The figures of docs/reference/figures.md, which `python -m tests.benchmarks` measures and writes.

`harness` races two pieces of code, `turns` has the messages, `stores` the databases, the `raw_*` modules the
baselines; every other module measures one subject, and `page` writes down what came out.
"""
