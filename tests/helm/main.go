// SPDX-License-Identifier: Apache-2.0

// Renders a chart with Helm's own engine, as helm template does, and prints the results as JSON: {"templates/x.yaml": "..."}.
//
//	render CHART RELEASE [-f FILE]... [--set KEY=VALUE]...
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/strvals"
)

func run(args []string) error {
	if len(args) < 2 || len(args)%2 != 0 {
		return fmt.Errorf("usage: render CHART RELEASE [-f FILE]... [--set KEY=VALUE]")
	}
	values := map[string]interface{}{}
	for i := 2; i < len(args); i += 2 {
		var err error
		if args[i] == "-f" {
			var file chartutil.Values
			if file, err = chartutil.ReadValuesFile(args[i+1]); err == nil {
				values = chartutil.CoalesceTables(file, values)
			}
		} else if args[i] == "--set" {
			err = strvals.ParseInto(args[i+1], values)
		} else {
			err = fmt.Errorf("unknown: %s", args[i])
		}
		if err != nil {
			return err
		}
	}
	chart, err := loader.LoadDir(args[0])
	if err != nil {
		return err
	}
	release := chartutil.ReleaseOptions{Name: args[1], Namespace: "default", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return err
	}
	rendered, err := engine.Render(chart, all)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(rendered)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}
