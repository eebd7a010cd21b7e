# gensynth on a processor, as a command:
#
#     docker build -t gensynth .
#     docker run --rm -v "$PWD:/work" gensynth synth --out quick
#
# Runs, devices and downloads stay in the folder that is mounted, owned by whoever runs it.
FROM python:3.12-slim

# PyPI's torch would bring gigabytes of CUDA libraries.
COPY pyproject.toml /source/
RUN sed -n 's/^ *"\(torch[<>=][^"]*\)",$/\1/p' /source/pyproject.toml >/torch.txt \
 && pip install --no-cache-dir --requirement /torch.txt --index-url https://download.pytorch.org/whl/cpu

COPY . /source
RUN pip install --no-cache-dir /source

ENV XDG_CONFIG_HOME=/work/.config XDG_DATA_HOME=/work/.data XDG_CACHE_HOME=/work/.cache
WORKDIR /work
ENTRYPOINT ["gensynth"]
CMD ["--help"]
