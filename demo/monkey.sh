# Kills the web server once with kill -9.
sleep 5
pid=$(cat web.pid)
echo "kill -9 $pid"
kill -9 "$pid"
