package main

import (
	"bytes"
	"fmt"
	"net"
)

// The same as in src/http.rs.
var (
	response = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: 12\r\n\r\nhello, world")
	end      = []byte("\r\n\r\n")
)

const buffer = 2048

// serve is the echo: one goroutine a connection.
func serve() error {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening on", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go answer(connection)
	}
}

// answer ends when the client leaves. Go turns Nagle's algorithm off by itself.
func answer(connection net.Conn) {
	defer connection.Close()
	input, filled := make([]byte, buffer), 0
	for {
		arrived, err := connection.Read(input[filled:])
		if err != nil || arrived == 0 {
			return
		}
		filled += arrived
		requests, taken := wholeRequests(input[:filled])
		filled = copy(input, input[taken:filled])
		for ; requests > 0; requests-- {
			if _, err := connection.Write(response); err != nil {
				return
			}
		}
	}
}

// wholeRequests counts the whole requests in the input, and says how many bytes they take.
func wholeRequests(input []byte) (count, taken int) {
	for {
		at := bytes.Index(input[taken:], end)
		if at < 0 {
			return count, taken
		}
		count++
		taken += at + len(end)
	}
}
