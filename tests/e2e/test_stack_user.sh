#!/bin/sh
# The whole stack and the local driver once more, with gateway and CLI run by an ordinary user.
cd "$(dirname "$0")" || exit 1
python=$([ -x /usr/bin/python3 ] && echo /usr/bin/python3 || echo python3)
export OPENSHELL_TEST_USER=1
status=0
for t in test_stack.py driver/test_rootfs.py driver/test_mounts.py driver/test_limits.py; do
    "$python" "$t" || status=1
done
"$python" test_rules.py local_driver image_gets new_rules missing_file || status=1
exit $status
