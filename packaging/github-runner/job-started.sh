#!/bin/bash
# Before each job of a self-hosted runner of GitHub's: refuses a job whose GPUs cannot work, with what is wrong and the
# fix as annotations of the job. Whatever else comes of nvdiag (it cannot tell, crashes, hangs, is not there), the job
# runs.
#
# Put it beside nvdiag, outside of the runner's folder, and name it in the runner's file .env:
#   ACTIONS_RUNNER_HOOK_JOB_STARTED=/opt/nvdiag/job-started.sh
#
# The runner calls it by `bash -e` as its own user, in the job's workspace, with the job's variables and no time limit.
# What the job brought is not for nvdiag: -I keeps Python to its own modules, --no-config nvdiag to its own settings.
nvdiag=(/usr/bin/python3 -I /opt/nvdiag/nvdiag.pyz)
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
set +e # the runner's -e would make a refusal of any mishap in here

gpus=${CUDA_VISIBLE_DEVICES-all}
[[ -n $gpus ]] || exit 0 # this runner's jobs see no GPU

said=$(timeout -k 5 60 "${nvdiag[@]}" check --no-config --deadline 40 \
    --class configuration,hardware --gpus "$gpus" --format github 2>&1)
code=$?

# To the runner a line that begins with ::, and ##[ anywhere, is a command: of all that was said nvdiag's annotations
# alone are passed on as such.
printf '%s\n' "$said" | sed -E \
    '/^::((error|warning|notice) title=nvdiag|group::|endgroup::)/!s/^([[:space:]]*)::/\1: :/; s/##\[/# #[/g'

if [[ $code == 1 && $'\n'$said == *$'\n::error title=nvdiag'* ]]; then
    echo "This job was not started: it would fail on this runner (nvdiag, exit code 1)."
    exit 1
fi
case $code in
    0) ;;
    3) ;; # an annotation says what could not be told
    124 | 137) echo "::warning title=nvdiag let this job go::nvdiag did not end within 60 seconds" ;;
    *) echo "::warning title=nvdiag let this job go::nvdiag could not judge this runner (exit code $code)" ;;
esac
exit 0
