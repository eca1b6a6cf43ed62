// Echo with package net or plaintext HTTP with package net/http, on one processor: `serve echo|http`.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
)

func main() {
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("listening on", listener.Addr())
	switch os.Args[1] {
	case "echo":
		for {
			stream, err := listener.Accept()
			if err != nil {
				panic(err)
			}
			go echo(stream)
		}
	case "http":
		http.HandleFunc("/plaintext", plaintext)
		panic(http.Serve(listener, nil))
	default:
		os.Exit(2)
	}
}

func echo(stream net.Conn) {
	defer stream.Close()
	bytes := make([]byte, 4096)
	for {
		count, err := stream.Read(bytes)
		if err != nil {
			return
		}
		if _, err := stream.Write(bytes[:count]); err != nil {
			return
		}
	}
}

func plaintext(answer http.ResponseWriter, _ *http.Request) {
	fields := answer.Header()
	fields.Set("Server", "go")
	fields.Set("Content-Type", "text/plain")
	fields.Set("Content-Length", "13")
	io.WriteString(answer, "Hello, World!")
}
