{{/*
A value of the pod's as a CEL literal, for a list of its type in admission policies and the value.
Objects have types of their own there, `Object.spec.initContainers{…}`: in a plain map all values
would have to be of one type. Fields that hold names of the user's choice stay plain maps.
*/}}
{{- define "agent-event-bridge.cel" -}}
{{- $type := index . 0 -}}{{- $value := index . 1 -}}
{{- if kindIs "map" $value -}}
{{- $plain := regexMatch "\\.(limits|requests|labels|annotations|matchLabels|volumeAttributes)$" $type -}}
{{- $fields := list -}}
{{- range $key, $field := $value -}}
{{- if $plain -}}
{{- $fields = append $fields (printf "%s: %s" (toJson $key) (toString $field | toJson)) -}}
{{- else if not (kindIs "invalid" $field) -}}
{{- $fields = append $fields (printf "%s: %s" $key (include "agent-event-bridge.cel" (list (printf "%s.%s" $type $key) $field))) -}}
{{- end -}}
{{- end -}}
{{- $plain | ternary "" $type }}{{ include "agent-event-bridge.celBlock" (list "{" $fields "}") }}
{{- else if kindIs "slice" $value -}}
{{- $items := list -}}
{{- range $value }}{{ $items = append $items (include "agent-event-bridge.cel" (list $type .)) }}{{ end -}}
{{- include "agent-event-bridge.celBlock" (list "[" $items "]") }}
{{- else -}}
{{- toJson $value }}
{{- end }}
{{- end }}

{{- define "agent-event-bridge.celBlock" -}}
{{- $lines := index . 1 -}}
{{ index . 0 }}{{ if $lines }}{{ join ",\n" $lines | nindent 2 }}
{{ end }}{{ index . 2 }}
{{- end }}
