# Does three jobs, then trips over the fourth.
for job in 1 2 3; do
    echo "job $job done"
    sleep 1
done
echo "job 4 is too heavy" >&2
exit 7
