# Requests the page of the web server every second and prints it. It uses bash's own TCP, so it needs no other program.
port=$1
while :; do
    if { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; then
        printf 'GET / HTTP/1.0\r\n\r\n' >&3
        tail -n 1 <&3
        exec 3>&- 3<&-
    else
        echo "no answer on port $port"
    fi
    sleep 1
done
