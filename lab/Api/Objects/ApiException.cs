using System.Text.Json.Nodes;

namespace AmbientMesh.Lab.Api.Objects;

/// <summary>A request the API server refuses; <see cref="Status"/> is the body the client gets.</summary>
public sealed class ApiException(int code, string reason, string message, JsonObject? details = null) : Exception(message)
{
    /// <summary>HTTP status code.</summary>
    public int Code { get; } = code;
    /// <summary>Machine-readable reason, e.g. <c>NotFound</c>.</summary>
    public string Reason { get; } = reason;
    /// <summary>Present, maybe empty, except where Kubernetes leaves it out.</summary>
    public JsonObject? Details { get; } = details;
    /// <summary>Set where a list can go on with another token (410).</summary>
    public string? Continue { get; init; }

    public bool IsNotFound => Code == 404;
    public bool IsConflict => Reason == "Conflict";
    public bool IsAlreadyExists => Reason == "AlreadyExists";

    /// <summary>A new <c>Status</c> object.</summary>
    public JsonObject Status
    {
        get
        {
            var status = new JsonObject
            {
                ["kind"] = "Status",
                ["apiVersion"] = "v1",
                ["metadata"] = Continue is null ? new JsonObject() : new JsonObject { ["continue"] = Continue },
                ["status"] = "Failure",
                ["message"] = Message,
            };
            if (Reason.Length > 0) status["reason"] = Reason;
            if (Details is not null) status["details"] = Details.Copy();
            status["code"] = JsonTree.Number(Code);
            return status;
        }
    }
}

/// <summary>One wrong field of an object (422).</summary>
/// <param name="Reason">Cause, e.g. <c>FieldValueInvalid</c>.</param>
/// <param name="Field">Path of the field, e.g. <c>spec.ports[0].port</c>.</param>
/// <param name="Message">Begins with the form of the error, e.g. <c>Invalid value: …</c>.</param>
public sealed record FieldError(string Reason, string Field, string Message)
{
    public static FieldError Required(string field, string detail = "") =>
        new("FieldValueRequired", field, detail.Length == 0 ? "Required value" : $"Required value: {detail}");
    public static FieldError Invalid(string field, string value, string detail) => new("FieldValueInvalid", field, $"Invalid value: {value}: {detail}");
    public static FieldError InvalidText(string field, string value, string detail) => Invalid(field, Quote(value), detail);
    public static FieldError Forbidden(string field, string detail) => new("FieldValueForbidden", field, $"Forbidden: {detail}");
    public static FieldError Duplicate(string field, string value) => new("FieldValueDuplicate", field, $"Duplicate value: {value}");
    public static FieldError TooLong(string field, string detail) => new("FieldValueTooLong", field, $"Too long: {detail}");
    public static FieldError Type(string field, string value, string detail) => new("FieldValueTypeInvalid", field, $"Invalid value: {value}: {detail}");
    public static FieldError Unsupported(string field, string value, IEnumerable<string> supported) =>
        new("FieldValueNotSupported", field, $"Unsupported value: {value}: supported values: {string.Join(", ", supported.Select(Quote))}");

    /// <summary>The text in double quotes, with quotes and backslashes escaped.</summary>
    public static string Quote(string text) => "\"" + text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal) + "\"";
}

/// <summary>The refusals of Kubernetes, by name.</summary>
public static class ApiErrors
{
    private static JsonObject Details(string? name, string group, string kind)
    {
        var details = new JsonObject();
        if (!string.IsNullOrEmpty(name)) details["name"] = name;
        if (group.Length > 0) details["group"] = group;
        details["kind"] = kind;
        return details;
    }

    public static ApiException NotFound(GroupResource resource, string name) =>
        new(404, "NotFound", $"{resource} \"{name}\" not found", Details(name, resource.Group, resource.Resource));

    public static ApiException NoSuchResource() => new(404, "NotFound", "the server could not find the requested resource", []);

    public static ApiException AlreadyExists(GroupResource resource, string name) =>
        new(409, "AlreadyExists", $"{resource} \"{name}\" already exists", Details(name, resource.Group, resource.Resource));

    public static ApiException Modified(GroupResource resource, string name) =>
        Conflict(resource, name, "the object has been modified; please apply your changes to the latest version and try again");

    public static ApiException Conflict(GroupResource resource, string name, string why) =>
        new(409, "Conflict", $"Operation cannot be fulfilled on {resource} \"{name}\": {why}", Details(name, resource.Group, resource.Resource));

    public static ApiException PreconditionFailed(string kind, string name, string why) =>
        new(409, "Conflict", $"Operation cannot be fulfilled on {kind} \"{name}\": {why}", Details(name, "", kind));

    public static ApiException BadRequest(string message) => new(400, "BadRequest", message);

    public static ApiException MethodNotAllowed() => new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", []);

    public static ApiException VerbNotSupported(GroupResource resource, string verb) =>
        new(405, "MethodNotAllowed", $"{verb} is not supported on resources of kind \"{resource}\"", Details(null, resource.Group, resource.Resource));

    public static ApiException Unauthorized() => new(401, "Unauthorized", "Unauthorized");

    public static ApiException Forbidden(GroupResource resource, string name, string why, JsonArray? causes = null)
    {
        var details = Details(name, resource.Group, resource.Resource);
        if (causes is not null) details["causes"] = causes;
        var subject = name.Length > 0 ? $"{resource} \"{name}\"" : resource.ToString();
        return new ApiException(403, "Forbidden", $"{subject} is forbidden: {why}", details);
    }

    public static ApiException Internal(string message) =>
        new(500, "InternalError", $"Internal error occurred: {message}", new JsonObject { ["causes"] = new JsonArray(new JsonObject { ["message"] = message }) });

    /// <summary>410: the resourceVersion fell out of the history.</summary>
    public static ApiException Expired(string message) => new(410, "Expired", message);

    /// <summary>422 with every cause. <paramref name="kind"/> carries its group after a dot in the message when it has one.</summary>
    public static ApiException Invalid(string group, string kind, string name, IReadOnlyList<FieldError> errors)
    {
        var details = Details(name, group, kind);
        var causes = new JsonArray();
        foreach (var error in errors)
            causes.Add(new JsonObject { ["reason"] = error.Reason, ["message"] = error.Message, ["field"] = error.Field });
        if (causes.Count > 0) details["causes"] = causes;
        var lines = errors.Select(e => $"{e.Field}: {e.Message}").Distinct(StringComparer.Ordinal).ToList();
        var text = lines.Count == 1 ? lines[0] : $"[{string.Join(", ", lines)}]";
        var qualified = group.Length > 0 ? $"{kind}.{group}" : kind;
        return new ApiException(422, "Invalid", $"{qualified} \"{name}\" is invalid: {text}", details);
    }

    /// <summary>422 that names nothing: a JSON patch that does not apply.</summary>
    public static ApiException PatchDoesNotApply() => new(422, "Invalid", "the server rejected our request due to an error in our request", []);
}
