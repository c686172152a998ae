// Package trace shows traces of simulated worlds to people and programs, and
// tells two of them apart.
//
//	trace.Text(os.Stdout, w.Trace())           // a transcript to read
//	trace.JSONLines(file, w.Trace())           // one event a line, for other programs
//	fmt.Print(trace.Diff(calm.Trace(), w.Trace(), trace.Options{})) // what a fault changed
package trace
