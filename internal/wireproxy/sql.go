package wireproxy

import "strings"

func isCommitSQL(sql string) bool {
	return strings.EqualFold(strings.TrimRight(strings.TrimSpace(sql), "; \n"), "commit")
}

// isAppendSQL goes by the functions that Annals appends with.
func isAppendSQL(sql string) bool {
	return strings.Contains(sql, "append_v1(") || strings.Contains(sql, "append_all_v1(")
}
