# The command linksim in an image. Without a GPU:
#   docker build --tag linksim .
#   docker run --rm --volume "$PWD":/data --user "$(id -u)" linksim simulate quickstart --out quickstart
# With CUDA: PyTorch of PyPI brings its libraries, the machine its driver and the NVIDIA Container Toolkit:
#   docker build --build-arg TORCH_INDEX=https://pypi.org/simple --tag linksim:cuda .
#   docker run --rm --gpus all --volume "$PWD":/data --user "$(id -u)" linksim:cuda simulate quickstart --device cuda --out quickstart
# BASE may be any image with Python 3.11 to 3.13 as "python" (one of NVIDIA's CUDA images with Python, too).
# The target smoke is the test: it runs the quickstart. EXTRAS=diffusion,realism adds extras.
ARG BASE=python:3.11-slim

FROM ${BASE} AS installed
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=
WORKDIR /src
COPY constraints.txt ./
# What PyTorch depends on comes later: its index need not have the versions of constraints.txt.
RUN python -m pip install --no-cache-dir --no-deps --constraint constraints.txt torch torchvision --index-url "${TORCH_INDEX}"
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY channels channels
COPY linksim linksim
COPY scenarios scenarios
RUN python -m pip install --no-cache-dir --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"
# Caches where every user may write: containers are often run with --user.
ENV LINKSIM_CACHE=/tmp/linksim TORCH_HOME=/tmp/torch HF_HOME=/tmp/huggingface MPLCONFIGDIR=/tmp/matplotlib NUMBA_CACHE_DIR=/tmp/numba \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --create-home linksim
USER linksim
WORKDIR /data

FROM installed AS smoke
RUN linksim simulate quickstart --out /tmp/quickstart
RUN test -s /tmp/quickstart/report.html

FROM installed
ENTRYPOINT ["linksim"]
CMD ["--help"]
