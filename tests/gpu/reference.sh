#!/usr/bin/env bash
# All that a GPU is needed for, in one command, on a bare machine without a network: Python 3.12, torch,
# torchvision, timm, pandas, scikit-learn and matplotlib; what is missing lies as wheels in .whl/.
#
#   OUT=/tmp/out MINUTES=8 bash tests/gpu/reference.sh
#
# PROFILE (reference), RUNS (core), AT_ONCE (3), MINUTES (8: of all), SMOKE (minutes of the smoke profile first,
# which finds what only a GPU shows; 1.5, 0 leaves it out). It ends by itself before MINUTES are over; started
# again, runs go on at their last epoch. What comes back lies in $OUT: at most seven archives, each of
# whole runs' folders from logs/ and images_gallery/, and `report.txt`.
set -uo pipefail
cd "$(dirname "$0")/../.."
OUT=${OUT:-build/gpu} MINUTES=${MINUTES:-8} SMOKE=${SMOKE:-1.5} PROFILE=${PROFILE:-reference}
PYTHON=${PYTHON:-python3}
start=$SECONDS
mkdir -p "$OUT"
exec > >(tee "$OUT/report.txt") 2>&1

if compgen -G ".whl/*.whl" >/dev/null; then
  # With bytecode: notebooks that start side by side would all compile the same files.
  $PYTHON -m pip install -q --no-index --no-deps --no-cache-dir --upgrade --target build/site .whl/*.whl || exit
  export PYTHONPATH="$PWD/build/site:$PWD"
else
  export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PYTHONUNBUFFERED=1
# A copy without .git still says which revision its runs are of.
export GIT_REVISION=${GIT_REVISION:-$(git describe --always --dirty --exclude='*' 2>/dev/null || echo unknown)}
echo "revision $GIT_REVISION"
$PYTHON -c "import torch; print('GPU', torch.cuda.get_device_name() if torch.cuda.is_available() else 'none')"

if [ "$SMOKE" != 0 ]; then
  $PYTHON -m tests.gpu.side_by_side --profile smoke --runs "ResNet18 UNet MultiView" --at-once 3 --minutes "$SMOKE"
fi
left=$($PYTHON -c "print($MINUTES - ($SECONDS - $start) / 60 - 0.5)")
$PYTHON -m tests.gpu.side_by_side --profile "$PROFILE" --runs "${RUNS:-}" --at-once "${AT_ONCE:-3}" \
  --minutes "$left" ${REFERENCE:+--reference}
$PYTHON -m tests.gpu.pack "$OUT" ${REFERENCE:+--reference}
echo "took $((SECONDS - start)) s"
