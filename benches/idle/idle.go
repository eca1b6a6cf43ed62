// The loop of `idle` in Go.
package main

import (
	"fmt"
	"net"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serve(connection)
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	bytes := make([]byte, 1024)
	answer := []byte("HTTP/1.1 204 No Content\r\n\r\n")
	for {
		length, err := connection.Read(bytes)
		if err != nil || length == 0 {
			return
		}
		if _, err := connection.Write(answer); err != nil {
			return
		}
	}
}
