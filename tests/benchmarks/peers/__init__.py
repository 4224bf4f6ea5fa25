"""chatstore beside the libraries that people use for the same, each as it comes, in one run.

Needs an environment of its own, since nobody has all of them in one program:
``pip install -e '.[postgres,langchain]' -r tests/benchmarks/peers/requirements.txt``.
"""
