{{- define "agent-event-bridge.name" -}}
{{- .Values.nameOverride | default "agent-event-bridge" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The release's name, with the chart's unless it is in there already. Long names stay apart by a hash. */}}
{{- define "agent-event-bridge.fullname" -}}
{{- $name := include "agent-event-bridge.name" . -}}
{{- $default := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full := .Values.fullnameOverride | default $default -}}
{{- gt (len $full) 50 | ternary (printf "%s-%s" (trunc 41 $full | trimSuffix "-") (sha256sum $full | trunc 8)) $full }}
{{- end }}

{{- define "agent-event-bridge.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "agent-event-bridge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "agent-event-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: bridge
{{- end }}

{{- define "agent-event-bridge.labels" -}}
{{- $own := dict
  "helm.sh/chart" (include "agent-event-bridge.chart" .)
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "agent-event-bridge" -}}
{{- merge (include "agent-event-bridge.selectorLabels" . | fromYaml) .Values.commonLabels $own | toYaml }}
{{- end }}

{{- define "agent-event-bridge.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "agent-event-bridge.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $default }}
{{- end }}

{{- define "agent-event-bridge.image" -}}
{{- with .Values.image -}}
{{- with .registry | default ($.Values.global).imageRegistry }}{{ . }}/{{ end -}}
{{- .repository -}}
{{- if .digest -}} @{{ .digest }}
{{- else -}} :{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Secrets to pull the image with, as a list. */}}
{{- define "agent-event-bridge.imagePullSecrets" -}}
{{- concat .Values.imagePullSecrets ((.Values.global).imagePullSecrets | default list) | uniq | toYaml }}
{{- end }}

{{/* The fields that have a value, for a list of a map and the names of its fields. */}}
{{- define "agent-event-bridge.given" -}}
{{- $values := first . }}
{{- range $field := rest . }}
{{- with get $values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of the port at which probes and metrics are. */}}
{{- define "agent-event-bridge.internalPort" -}}
{{- .Values.internalPort | empty | ternary "http" "internal" }}
{{- end }}

{{/* The Service that leads to the metrics, which Prometheus takes for their `job`. */}}
{{- define "agent-event-bridge.scraped" -}}
{{- include "agent-event-bridge.fullname" . }}{{ if .Values.internalPort }}-internal{{ end }}
{{- end }}

{{/* Labels that tell that Service from any other. */}}
{{- define "agent-event-bridge.scrapedLabels" -}}
{{- $labels := include "agent-event-bridge.selectorLabels" . | fromYaml }}
{{- if .Values.internalPort }}{{ $_ := set $labels "app.kubernetes.io/component" "internal" }}{{ end }}
{{- toYaml $labels }}
{{- end }}

{{/* The hosts of the Ingress with their paths: `[{host: …, paths: [{path: …, pathType: …}]}]`. */}}
{{- define "agent-event-bridge.ingressHosts" -}}
{{- range .Values.ingress.hosts }}
{{- $host := kindIs "string" . | ternary (dict "host" .) . }}
- host: {{ $host.host | quote }}
  paths:
    {{- range $host.paths | default $.Values.ingress.paths }}
    {{- $path := kindIs "string" . | ternary (dict "path" .) . }}
    - path: {{ $path.path | quote }}
      pathType: {{ $path.pathType | default "Prefix" }}
    {{- end }}
{{- end }}
{{- end }}

{{/* What comes from outside the namespace and finds the network policy shut; empty: nothing. */}}
{{- define "agent-event-bridge.shutOut" -}}
{{- $open := false -}}
{{- with .Values.networkPolicy -}}
{{- range .from }}{{ if or (hasKey . "namespaceSelector") (hasKey . "ipBlock") }}{{ $open = true }}{{ end }}{{ end -}}
{{- range .extraIngress }}{{ if not .ports }}{{ $open = true }}{{ end }}
{{- range .ports }}{{ if has (toString .port) (list "http" (toString $.Values.containerPort)) }}{{ $open = true }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not $open) -}}
{{- if .Values.ingress.enabled }}The controller of the Ingress
{{- else if .Values.httpRoute.enabled }}The Gateway
{{- else if ne .Values.service.type "ClusterIP" }}What the Service of type {{ .Values.service.type }} lets in
{{- end -}}
{{- end -}}
{{- end }}

{{/* One setting, for a list of context, name and default. 0 is a value like any other. */}}
{{- define "agent-event-bridge.setting" -}}
{{- $settings := (index . 0).Values.settings | default dict -}}
{{- hasKey $settings (index . 1) | ternary (get $settings (index . 1)) (index . 2) }}
{{- end }}

{{/* What bridge.yaml holds. */}}
{{- define "agent-event-bridge.settings" -}}
{{- $settings := deepCopy (.Values.settings | default dict) -}}
{{- if and .Values.nats.enabled (not (hasKey $settings "stream_replicas")) -}}
{{- $_ := set $settings "stream_replicas" (include "agent-event-bridge.natsServers" . | int | min 5) -}}
{{- end -}}
{{- toYaml $settings }}
{{- end }}

{{/* The files of the bridge's configuration folder. */}}
{{- define "agent-event-bridge.config" -}}
bridge.yaml: |
  {{- include "agent-event-bridge.settings" . | nindent 2 }}
{{- range $file, $entries := dict "topics" (.Values.catalog).topics "event_types" (.Values.catalog).eventTypes "agent_types" (.Values.catalog).agentTypes }}
{{- with $entries }}
{{ $file }}.yaml: |
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.auth.publicKey.value }}
jwt-public.pem: |
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.auth.jwks.value }}
jwks.json: |
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Changes with the secrets that the container reads when it starts: with the value of one that
the chart makes, with the version of one that is there, so that nothing can be learnt from it.
*/}}
{{- define "agent-event-bridge.secretChecksum" -}}
{{- $seen := list -}}
{{- if include "agent-event-bridge.ownSecret" . -}}
{{- $seen = append $seen (include "agent-event-bridge.generated" (list . (include "agent-event-bridge.secretName" .) .Values.auth.secretKey)) -}}
{{- end -}}
{{- if and .Values.nats.enabled .Values.natsUsers.create -}}
{{- $seen = append $seen (include "agent-event-bridge.generated" (list . (include "agent-event-bridge.natsUsersName" .) "bridge")) -}}
{{- end -}}
{{- $brought := list .Values.externalNats.existingSecret -}}
{{- if and .Values.nats.enabled (not .Values.natsUsers.create) -}}
{{- $brought = append $brought (include "agent-event-bridge.natsUsersName" .) -}}
{{- end -}}
{{- with .Values.auth -}}
{{- $brought = concat $brought (list .existingSecret .publicKey.existingSecret .privateKey.existingSecret .jwks.existingSecret) -}}
{{- end -}}
{{- range compact $brought -}}
{{- $seen = append $seen . -}}
{{- with (lookup "v1" "Secret" $.Release.Namespace .).metadata }}{{ $seen = append $seen .resourceVersion }}{{ end -}}
{{- end -}}
{{- toJson $seen | sha256sum }}
{{- end }}

{{/* "true" where the chart makes the secret for tokens itself. */}}
{{- define "agent-event-bridge.ownSecret" -}}
{{- if not (or .Values.auth.existingSecret (include "agent-event-bridge.asymmetric" .)) }}true{{ end }}
{{- end }}

{{/* preStop, drain and shutdown one after the other, and 5 seconds to close the rest. */}}
{{- define "agent-event-bridge.gracePeriod" -}}
{{- $drain := include "agent-event-bridge.setting" (list . "drain_seconds" 1.0) | float64 -}}
{{- $shutdown := include "agent-event-bridge.setting" (list . "shutdown_timeout_seconds" 10) | float64 -}}
{{- addf .Values.preStopSeconds $drain $shutdown 5 | ceil | int }}
{{- end }}

{{/* "true" where there can be more than one bridge. */}}
{{- define "agent-event-bridge.several" -}}
{{- if gt (.Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicaCount | int) 1 }}true{{ end }}
{{- end }}
