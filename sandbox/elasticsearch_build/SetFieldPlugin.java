package sandbox;

import java.util.Collection;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.plugins.ScriptPlugin;
import org.elasticsearch.script.ScriptContext;
import org.elasticsearch.script.ScriptEngine;
import org.elasticsearch.script.UpdateScript;

/**
 * A script language, `set_field`, for updates: the source names a field of the document, the parameter `value` is
 * what it becomes. Maven Central's Elasticsearch has no Painless, and an update by query needs some language.
 */
public class SetFieldPlugin extends Plugin implements ScriptPlugin {
    @Override
    public ScriptEngine getScriptEngine(Settings settings, Collection<ScriptContext<?>> contexts) {
        return new SetField();
    }

    private static final class SetField implements ScriptEngine {
        @Override
        public String getType() {
            return "set_field";
        }

        @Override
        public <T> T compile(String name, String field, ScriptContext<T> context, Map<String, String> options) {
            UpdateScript.Factory factory = (params, ctx) -> new UpdateScript(params, ctx) {
                @Override
                @SuppressWarnings("unchecked")
                public void execute() {
                    ((Map<String, Object>) getCtx().get("_source")).put(field, getParams().get("value"));
                }
            };
            return context.factoryClazz.cast(factory);
        }

        @Override
        public Set<ScriptContext<?>> getSupportedContexts() {
            return Set.of(UpdateScript.CONTEXT);
        }
    }
}
