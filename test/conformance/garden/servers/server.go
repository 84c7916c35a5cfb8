// A server of the garden on Go's net/http. Argument: a port of 127.0.0.1.
// Every request that it has seen is a line of JSON on standard output, and is answered with its target in X-Seen.
package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"sync"
)

type record struct {
	Method   string `json:"method"`
	Target   string `json:"target"`
	Length   int64  `json:"length"`
	ID       string `json:"id"`
	Complete bool   `json:"complete"`
}

func main() {
	var mutex sync.Mutex
	lines := json.NewEncoder(os.Stdout)
	lines.SetEscapeHTML(false)
	handler := http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		length, err := io.Copy(io.Discard, request.Body)
		mutex.Lock()
		lines.Encode(record{request.Method, request.RequestURI, length, request.Header.Get("X-Correlation-ID"), err == nil})
		mutex.Unlock()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		writer.Header().Set("X-Seen", request.RequestURI)
		io.WriteString(writer, "seen\n")
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Args[1], Handler: handler}
	if err := server.ListenAndServe(); err != nil {
		panic(err)
	}
}
