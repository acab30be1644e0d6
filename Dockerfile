# docker build -t fastlb . && docker run -v ./fastlb.toml:/etc/fastlb/fastlb.toml:ro -p 80:80 fastlb
FROM python:3.13-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.13-slim
# No gcc and no source in what runs: the wheels of the first stage and nothing else.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels fastlb \
    && useradd --system --no-create-home --uid 10001 fastlb \
    && install -d -o fastlb /run/fastlb
USER fastlb
STOPSIGNAL SIGTERM
ENTRYPOINT ["fastlb"]
CMD ["serve", "/etc/fastlb/fastlb.toml"]
