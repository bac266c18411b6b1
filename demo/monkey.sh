# Kills the web server once, without mercy.
sleep 5
pid=$(cat web.pid)
echo "kill -9 $pid"
kill -9 "$pid"
