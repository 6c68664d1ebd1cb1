package fs

// Room is how many bytes the file system of the store has left. It is [errors.ErrUnsupported] where the system is not asked.
func (s *Store) Room() (int64, error) {
	free, err := room(s.entries)
	if err != nil {
		return 0, trouble("ask how much room the disk has", err)
	}
	return free, nil
}
