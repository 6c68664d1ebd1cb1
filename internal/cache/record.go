package cache

import "context"

// RecordReader is what a [Store] may be able to do beside: tell an entry's record without its body.
type RecordReader interface {
	// ReadRecord returns the record under key as it lies in the storage that all share, or in what waits for it on this machine; [ErrNotExist] if there is none.
	// Seal and body are not verified, and what is damaged is trouble or [ErrDamaged]. It is not for serving.
	ReadRecord(ctx context.Context, key Key) (Record, error)
}

// Opener is the part of a [Store] that opens entries.
type Opener interface {
	Open(ctx context.Context, key Key) (*Object, error)
}

// ReadRecord asks a store for a record: as a [RecordReader] if it is one, and else by opening the entry. Decorators that are a [RecordReader] ask their inner store by it.
func ReadRecord(ctx context.Context, store Opener, key Key) (Record, error) {
	if p, ok := store.(RecordReader); ok {
		return p.ReadRecord(ctx, key)
	}
	obj, err := store.Open(ctx, key)
	if err != nil {
		return Record{}, err
	}
	return obj.Record, obj.Close()
}
