#!/usr/bin/env bash
# Flexible cutoffs for a model that exists: a small MACE of mace-torch's own program, converted, fine-tuned with labels
# and without, calibrated, used. docs/finetune.md explains the steps.
#
#   bash run.sh FOLDER           all files are written there; some ten minutes on one core
#
# Sizes by environment variables: STRUCTURES, CHANNELS, EPOCHS (of the MACE), FCL_EPOCHS, STEPS (of the dynamics).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
channels=${CHANNELS:-16}

# 1. Structures with total energies, and a MACE: l_max 3, correlation 3, ZBL repulsion, energies of isolated atoms.
energies=$(python "$here/structures.py" ${STRUCTURES:-})
[ -f given.model ] || mace_run_train --name given --seed 1 --device cpu --default_dtype float32 \
  --train_file train.xyz --valid_file val.xyz --energy_key REF_energy --forces_key REF_forces --E0s "$energies" \
  --model ScaleShiftMACE --r_max 5.0 --hidden_irreps "${channels}x0e + ${channels}x1o" --max_ell 3 --correlation 3 \
  --interaction_first RealAgnosticInteractionBlock --interaction RealAgnosticResidualInteractionBlock \
  --pair_repulsion --distance_transform Agnesi --batch_size 4 --valid_batch_size 6 --lr 0.01 \
  --max_num_epochs "${EPOCHS:-30}" --eval_interval 5 --num_workers 0 > mace.log 2>&1

# 2. The checkpoint becomes a model file, once. Nothing in it is run.
fcl convert given.model given.safetensors --overwrite

# 3. Flexible cutoffs: with your labels, or with the given model as the teacher, for which structures suffice.
options=(--from given.safetensors --batch-size 4 --epochs "${FCL_EPOCHS:-10}" --device cpu --max-pairs 40000)
fcl train "${options[@]}" --train train.xyz --val val.xyz --energy-key REF_energy --forces-key REF_forces -o labels
fcl train "${options[@]}" --data bare.xyz --teacher -o teacher

# 4. Cutoffs for the system, at 2% more error than at the given model's own cutoff.
keys=(--energy-key REF_energy --forces-key REF_forces)
fcl calibrate labels/fcl.safetensors train.xyz --held-out test.xyz "${keys[@]}" --reference-cutoff 5.0 \
  --max-error-increase "${INCREASE:-2%}" -o cutoffs.json --overwrite

# 5. Errors, pairs and time, before and after, and the dynamics of one crystal.
fcl evaluate given.safetensors test.xyz "${keys[@]}"
choices=(--cutoffs 5.0 --cutoffs 4.5 --cutoffs 4.0 --cutoffs 3.5 --cutoffs cutoffs.json)
fcl evaluate labels/fcl.safetensors test.xyz "${keys[@]}" "${choices[@]}"
fcl evaluate teacher/fcl.safetensors test.xyz "${keys[@]}" "${choices[@]}"
python -c "from ase.io import read, write; write('crystal.xyz', read('test.xyz', 2), columns=['symbols', 'positions'])"
fcl md labels/fcl.safetensors crystal.xyz --cutoffs cutoffs.json --temperature 100 --steps "${STEPS:-200}" -o md.xyz --overwrite
