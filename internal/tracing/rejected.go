package tracing

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// rejected reads an ExportTraceServiceResponse: {1: partial_success {1: rejected_spans, 2: error_message}}. An answer that is none is no error: the
// status says that the spans arrived. The message is the collector's, and shown quoted and cut.
func rejected(answer []byte) error {
	partial, _ := field(answer, 1, protowire.BytesType)
	_, spans := field(partial, 1, protowire.VarintType)
	message, _ := field(partial, 2, protowire.BytesType)
	if spans == 0 {
		return nil // a message alone is a warning
	}
	return fmt.Errorf("the collector rejects %d of them: %.200q", spans, message)
}

// field returns the last field of a number and type in a message, nothing if there is none or the message is broken.
func field(message []byte, number protowire.Number, kind protowire.Type) (bytes []byte, varint uint64) {
	for len(message) > 0 {
		n, t, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil, 0
		}
		message = message[size:]
		if size = protowire.ConsumeFieldValue(n, t, message); size < 0 {
			return nil, 0
		}
		if n == number && t == kind {
			switch kind {
			case protowire.VarintType:
				varint, _ = protowire.ConsumeVarint(message)
			case protowire.BytesType:
				bytes, _ = protowire.ConsumeBytes(message)
			default:
			}
		}
		message = message[size:]
	}
	return bytes, varint
}
