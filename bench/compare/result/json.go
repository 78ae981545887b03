package result

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// WriteJSON writes the record of a suite as dir/NAME.json.
func (s *Suite) WriteJSON(dir string) error {
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, s.Name+".json"), append(b, '\n'), 0o644)
}

// ReadJSON reads the record of a suite back.
func ReadJSON(dir, name string) (*Suite, error) {
	b, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		return nil, err
	}
	s := new(Suite)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s.json: %w", name, err)
	}
	return s, nil
}
