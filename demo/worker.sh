# Does three jobs, then fails at the fourth.
for job in 1 2 3; do
    echo "job $job done"
    sleep 1
done
echo "job 4 is too heavy" >&2
exit 7
