#!/usr/bin/env bash
# Write a folder that any web server can serve: the page, a classifier, its lines, and onnxruntime-web.
# Usage: bash build.sh FOLDER. Needs `pip install 'lgmnet[export]'`, and npm for the one download.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:?usage: bash build.sh FOLDER}
mkdir -p "$folder"
cd "$folder"
if [[ ! -f ort.wasm.min.mjs ]]; then
  npm pack --silent onnxruntime-web@1.22.0
  tar --extract --gzip --file onnxruntime-web-1.22.0.tgz --strip-components 2 \
    package/dist/ort.wasm.min.mjs package/dist/ort-wasm-simd-threaded.mjs package/dist/ort-wasm-simd-threaded.wasm
  rm onnxruntime-web-1.22.0.tgz
fi
[[ -d images ]] || lgmnet example drawings images
lgmnet forge images/symbols -o symbols.safetensors
lgmnet export symbols.safetensors -o symbols.onnx
lgmnet export symbols.safetensors --snippet javascript >predict.mjs
cp "$here/index.html" .
echo "$folder is ready: python -m http.server --directory '$folder'"
