{{/*
The bridge's container, the same in both shapes. A Deployment adds what belongs behind a Service
(readiness, preStop), a sidecar what makes it one.
*/}}
{{- define "agent-event-bridge.container" -}}
name: bridge
image: {{ include "agent-event-bridge.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
ports:
  - name: http
    containerPort: {{ .Values.containerPort }}
    protocol: TCP
  {{- with .Values.internalPort }}
  - name: internal
    containerPort: {{ . }}
    protocol: TCP
  {{- end }}
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: BRIDGE_CONFIG_DIR
    value: /etc/bridge
  - name: BRIDGE_DATA_DIR
    value: /tmp
  - name: BRIDGE_HOST
    value: {{ include "agent-event-bridge.setting" (list . "host" "0.0.0.0") | quote }}
  - name: BRIDGE_PORT
    value: {{ .Values.containerPort | quote }}
  {{- with .Values.internalPort }}
  - name: BRIDGE_INTERNAL_PORT
    value: {{ . | quote }}
  {{- end }}
  {{- include "agent-event-bridge.natsEnv" . | nindent 2 }}
  {{- include "agent-event-bridge.authEnv" . | trim | nindent 2 }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: bridge-config
    mountPath: /etc/bridge
    readOnly: true
  {{- if include "agent-event-bridge.files" . }}
  - name: bridge-files
    mountPath: /etc/bridge-files
    readOnly: true
  {{- end }}
  - name: bridge-tmp
    mountPath: /tmp
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
startupProbe:
  {{- include "agent-event-bridge.probe" (list . "/readyz" .Values.startupProbe) | nindent 2 }}
livenessProbe:
  {{- include "agent-event-bridge.probe" (list . "/livez" .Values.livenessProbe) | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{/* The item for `initContainers` that makes the bridge a native sidecar. */}}
{{- define "agent-event-bridge.sidecar" -}}
- {{ include "agent-event-bridge.container" . | indent 2 | trim }}
  restartPolicy: Always
{{- end }}

{{/* The items for `volumes` that the container mounts. */}}
{{- define "agent-event-bridge.volumes" -}}
- name: bridge-config
  configMap:
    name: {{ include "agent-event-bridge.fullname" . }}
{{- with include "agent-event-bridge.files" . }}
- name: bridge-files
  projected:
    sources:
      {{- . | trim | nindent 6 }}
{{- end }}
- name: bridge-tmp
  emptyDir:
    sizeLimit: 16Mi
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where the pods of the chart may run, and what they see of the network there. */}}
{{- define "agent-event-bridge.placement" -}}
{{- include "agent-event-bridge.given" (list .Values "nodeSelector" "affinity" "tolerations" "runtimeClassName" "hostAliases" "dnsPolicy" "dnsConfig") }}
{{- end }}

{{/* A probe, for a list of context, path and what else is said of it. */}}
{{- define "agent-event-bridge.probe" -}}
httpGet:
  path: {{ index . 1 }}
  port: {{ include "agent-event-bridge.internalPort" (first .) }}
{{ toYaml (last .) }}
{{- end }}
