// Stands in for the NATS chart's reloader: when a file of the configuration changes, nats-server is
// told to read it again. It looks once a second.
package main

import (
	"bytes"
	"crypto/sha256"
	"log"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	var pidFile string
	var files []string
	for i := 1; i+1 < len(os.Args); i += 2 {
		switch os.Args[i] {
		case "-pid":
			pidFile = os.Args[i+1]
		case "-config":
			files = append(files, os.Args[i+1])
		}
	}
	before := digest(files)
	for range time.Tick(time.Second) {
		now := digest(files)
		if bytes.Equal(now, before) {
			continue
		}
		before = now
		text, err := os.ReadFile(pidFile)
		if err != nil {
			log.Print(err)
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGHUP)
		}
		log.Print("the configuration changed; told nats-server: ", err)
	}
}

func digest(files []string) []byte {
	sum := sha256.New()
	for _, name := range files {
		text, _ := os.ReadFile(name)
		sum.Write(text)
		sum.Write([]byte{0})
	}
	return sum.Sum(nil)
}
