# BASE_IMAGE must bring Python 3.11 or newer with venv; a site that mirrors images names its own, by digest.
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
COPY local.lock /tmp/local.lock
RUN python3 -m venv /fedproc/environment \
    && /fedproc/environment/bin/python -m pip install --no-cache-dir --require-hashes -r /tmp/local.lock \
    && rm /tmp/local.lock
COPY source /fedproc/source/source
RUN mkdir -p /fedproc/work && chown 10001:10001 /fedproc/work
WORKDIR /fedproc/work
USER 10001:10001
ENTRYPOINT []
CMD ["/fedproc/environment/bin/python", "/fedproc/source/source/main.py", "--help"]
