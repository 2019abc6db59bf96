// Reads a file for Tekton as Tekton itself does: strictly into its types, with their defaults and their own validation.
// With EVENTS, a list of [headers, body] as a Git host sent them, its triggers' own code checks each signature, filters
// each event and prints the runs that it would make.
//
// To build it, make a module that requires tektoncd/pipeline v1.6.0 and tektoncd/triggers v0.34.0, with the replaces of
// their go.mod, and copy this file there: go mod tidy && go build -o tekton-check .
// To use it: tekton-check FILE [EVENTS SECRET]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	triggers "github.com/tektoncd/triggers/pkg/apis/triggers/v1beta1"
	"github.com/tektoncd/triggers/pkg/interceptors/cel"
	"github.com/tektoncd/triggers/pkg/interceptors/github"
	"github.com/tektoncd/triggers/pkg/template"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"
)

type object interface {
	SetDefaults(context.Context)
	Validate(context.Context) *apis.FieldError
}

type secret string

func (held secret) Get(context.Context, string, *triggers.SecretRef) ([]byte, error) {
	return []byte(held), nil
}

func main() {
	content, err := os.ReadFile(os.Args[1])
	refuse("file", err)
	var listener *triggers.EventListener
	for _, raw := range bytes.Split(content, []byte("\n---\n")) {
		var head struct{ Kind string }
		refuse("document", yaml.Unmarshal(raw, &head))
		switch head.Kind {
		case "Task":
			check(head.Kind, raw, &pipeline.Task{})
		case "EventListener":
			listener = &triggers.EventListener{}
			check(head.Kind, raw, listener)
		}
	}
	for _, trigger := range listener.Spec.Triggers {
		for _, each := range trigger.Template.Spec.ResourceTemplates {
			check(trigger.Name, bytes.ReplaceAll(each.RawExtension.Raw, []byte("$(tt.params."), []byte("(")), &pipeline.PipelineRun{})
		}
	}
	if len(os.Args) > 2 {
		follow(listener, os.Args[2], secret(os.Args[3]))
	}
}

func check(name string, raw []byte, made object) {
	refuse(name, yaml.UnmarshalStrict(raw, made))
	if run, is := made.(*pipeline.PipelineRun); is {
		run.Name = run.GenerateName + "x" // as the API server would
	}
	ctx := apis.WithinCreate(context.Background())
	made.SetDefaults(ctx)
	if err := made.Validate(ctx); err != nil {
		refuse(name, err)
	}
}

func follow(listener *triggers.EventListener, file string, held secret) {
	text, err := os.ReadFile(file)
	refuse("events", err)
	var events []struct {
		Headers map[string]string
		Body    string
	}
	refuse("events", json.Unmarshal(text, &events))
	for _, event := range events {
		header := http.Header{}
		for name, value := range event.Headers {
			header.Set(name, value)
		}
		for _, trigger := range listener.Spec.Triggers {
			if passes(trigger, header, event.Body, held) {
				follows(trigger, header, event.Body)
			}
		}
	}
}

func passes(trigger triggers.EventListenerTrigger, header http.Header, body string, held secret) bool {
	for _, each := range trigger.Interceptors {
		given := map[string]interface{}{}
		for _, param := range each.Params {
			var value interface{}
			refuse(param.Name, json.Unmarshal(param.Value.Raw, &value))
			given[param.Name] = value
		}
		var asked triggers.InterceptorInterface = github.NewInterceptor(held)
		if each.Ref.Name == "cel" {
			asked = cel.NewInterceptor(held)
		}
		about := &triggers.TriggerContext{TriggerID: "namespaces/x/triggers/x"}
		request := &triggers.InterceptorRequest{Body: body, Header: header, InterceptorParams: given, Context: about}
		if answer := asked.Process(context.Background(), request); !answer.Continue {
			fmt.Println(trigger.Name, "stopped:", answer.Status.Message)
			return false
		}
	}
	return true
}

func follows(trigger triggers.EventListenerTrigger, header http.Header, body string) {
	whole := triggers.Trigger{Spec: triggers.TriggerSpec{Bindings: trigger.Bindings, Template: *trigger.Template}}
	resolved, err := template.ResolveTrigger(whole, nil, nil, nil)
	refuse(trigger.Name, err)
	params, err := template.ResolveParams(resolved, []byte(body), header, nil, template.NewTriggerContext("x"))
	refuse(trigger.Name, err)
	for _, made := range template.ResolveResources(resolved.TriggerTemplate, params) {
		check(trigger.Name, made, &pipeline.PipelineRun{})
		fmt.Println(trigger.Name, "makes", string(made))
	}
}

func refuse(what string, err error) {
	if err != nil {
		fmt.Println(what, "refused:", err)
		os.Exit(1)
	}
}
